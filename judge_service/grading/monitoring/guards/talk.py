"""The words with which a text talks about answering, in many languages.

These are words, not phrases: a sentence that is made of them alone says nothing about its task. Words of
denial and assent ("not", "cannot", "no", "yes") are left out on purpose: a refusal and a "yes" are answers.

One block per language, and up to five lines in it:

    1. names of an answer, which alone say nothing ("solution")
    2. words that announce work ("think", "step"); a longer text needs one of these or of line 1
    3. words that join them ("let", "the", "carefully")
    4. words that liken one text to another ("same", "correct")
    5. words for what only a grader has ("reference"); a text with one is a claim about itself
"""

from functools import cache
from typing import NamedTuple

from judge_service.grading.monitoring.guards.fold import fold

GRADER = 4
"""The line, from 0, that no announcement has."""

LANGUAGES = """
answer answers above solution solutions response explanation analysis reasoning thoughts todo tbd placeholder result
think thinking thought step steps solve solving solved problem question tackle summary translation explain analyze analyse calculate calculation compute derive reflect ponder task assistant introduction conclusion overview
let lets us me i ill im id we well will shall can could should would need needs want going go goes gonna to the a this that these it its is are was be by through out over about at in on of for and so then now first firstly next finally final before after with from as my our your here heres below following follows follow above ok okay alright sure certainly course absolutely carefully slowly systematically thoroughly clearly logically methodically properly closely detail provide provides give gives given giving do doing have has been take taking look looking get getting into down up each one piece part parts whole together moment second try trying therefore thus hence insert write type enter put must hereby carry make sense all very more deeply hmm hm hello hi today everyone dear user thank thanks you asking attention time careful help hope helps once again just away present share come arrive reach manner way order fashion using some approached based process begin start started approach consider work working break find background discussion details understand examine elaborate proceed asked said prompt either may might option options choice choices or between input output scratchpad reflection add added sample text another prior ahead dive jump toward towards what asks questions arriving providing writing bit while minute mind aside smaller small simple simpler brief pieces component components statement deeper pleasure delighted entire
same identical match matches matching equal equals equivalent exactly correct accurate perfect fully deserves deserve highest maximum best possible agrees agree says stated completely entirely top see also like good every criterion criteria without any error errors mistake mistakes flawless meets satisfies contains copy expected provided 100 percent great interesting lovely excellent clear thorough helpful complete full detailed methodical logical long right happy glad everything gold truth ground marks score scores fine nice wonderful fantastic
reference references grader graders rubric

respuesta respuestas solución soluciones razonamiento explicación análisis resultado
pensar pensemos pienso pensando paso pasos resolver resolvamos resolveré resolvemos problema pregunta proceso pensamiento empezar empecemos comencemos comenzar comienzo analizar analicemos analizaré consideremos considerar veamos abordar abordemos tarea explicar explicaré ejercicio cuestión calcular calculemos reflexionar analizando razonar razonemos estudiar estudiemos
la el lo los las un una este esta esto a de del en por para con que y es voy vamos me nos mi tu su se final primero luego ahora claro supuesto vale bueno entonces cuidado cuidadosamente detenidamente detalle detalladamente aquí continuación siguiente hay debemos debo necesitamos podemos puedo puede necesito tenemos tengo parte partes cada poco dar daré doy todo forma manera calma seguir ver hacer haré sistemáticamente lógica sigue presento momento antes después gracias tienes le les completa orden método responder contestar atención pasos sea más ser siguientes pregunta brindar ofrecer entender entendamos comprender gusto tiene mucho comprenderla detenimiento manos obra lugar cuestiones ayuda fondo debe hace
igual misma mismo idéntica coincide exactamente correcta perfecta perfectamente máxima merece completamente totalmente ordenada bien
referencia

réponse réponses solution raisonnement explication analyse résumé démarche résultat
penser pensons réfléchir réfléchissons étape étapes résoudre résolvons résous problème question processus réflexion commencer commençons commence analyser analysons examiner examinons procéder procédons considérons aborder abordons tâche expliquer exercice calculer calculons réfléchissant raisonner raisonnons étudions étudier
la le les l un une des de du d cette ce cet à au aux en par pour avec que qu et est je vais nous allons me mon ma votre notre finale final abord puis ensuite maintenant sûr alors donc voici ci dessous suivante attentivement soigneusement détail détaillée devons dois pouvons faut il chaque tout tous s y on va méthodiquement calmement pas prenons temps moment peu ça voyons d'abord fait faire soin manière ordre suit présente merci avant attention répondre réponds étape demande entendu volontiers comprendre comprenons donner propose rigueur voir calme dabord dun suivantes énoncé plaisir tâchons essayons ensemble faisons sens attentif
même identique correspond exactement correcte parfaite mérite maximale complètement conforme totalement note logique bien
référence barème

lösung lösungen antwort antworten lösungsweg gedankengang denkprozess überlegung überlegungen erklärung analyse zusammenfassung ergebnis
denken denke nachdenken schritt schritte schritten schrittweise lösen löse problem aufgabe frage beginnen beginne anfangen betrachten analysieren überlegen angehen erläutern erkläre erklären fangen berechnen rechnen analysiere nachgedacht denkt durchdenken bearbeiten bearbeite
die der das den dem des ein eine einen einer wir ich uns mir mich es sich lass lasst lassen für nach zu zur zum an in im mit von und ist lautet sind hier folgt folgende folgenden nun jetzt zuerst zunächst dann also so okay natürlich gerne sicher werde werden wollen will muss müssen können kann sorgfältig genau gründlich ruhe ruhig systematisch ausführlich endgültige meine unsere ihre deine diese dieses diesen dieser detail darüber einmal mal wie unten stehend gehen gehe machen vor kurz um alles ordnung danke beantworten beantworte antworte kommt ganz genaue komme gebe geben verstehen werfen blick schauen schaue dazu nächstes bitte danach zusammen gemeinsam auf los hierzu vorher bevor alle nachzudenken müssten versuchen versuche freude teile einzelne gern
gleich identisch dieselbe stimmt überein exakt korrekt richtig perfekt verdient volle vollständig entspricht höchste note punktzahl richtige gut klar
referenz referenzantwort musterlösung

soluzione soluzioni risposta risposte ragionamento spiegazione analisi riassunto risultato
pensare pensiamo passo passi passaggio risolvere risolviamo risolverò problema domanda processo pensiero iniziare iniziamo cominciamo analizzare analizziamo consideriamo procediamo riflettiamo affrontiamo compito esercizio spiegare vediamo calcolare calcoliamo analizzando ragioniamo studiamo
la il lo le i gli l un una uno questo questa quesito di del della dello da a al alla in per con che e è ecco mio mia tua nostra dopo prima poi ora certo certamente allora quindi finale seguente attentamente accuratamente dettaglio dettagliatamente dobbiamo devo possiamo posso vado andiamo ci mi qui sotto seguito tutto ogni calma parte metodo ordine fare modo grazie volta ragionare rispondere rispondo capire capiamo innanzitutto innanzi cura attenzione domani volentieri sua passi dare do fornire presento qua mettiamoci cerchiamo cosa piacere insieme sulla proviamo provo prendiamo tempo meglio
stessa stesso identica uguale corrisponde esattamente corretta perfetta merita completamente massimo logico bene
riferimento

solução soluções resposta respostas raciocínio explicação análise resumo resultado
pensar pensemos passo passos resolver resolvamos problema pergunta questão processo pensamento começar comecemos analisar analisemos considerar vejamos refletir abordar tarefa exercício explicar calcular calculemos etapa etapas raciocinar raciocinemos estudar estudemos
a o as os um uma este esta isto isso de do da dos das em no na por para com que e é são aqui está vamos vou me nos minha meu sua nossa final primeiro depois agora claro então portanto seguinte cuidado cuidadosamente atentamente detalhe detalhadamente precisamos devemos preciso podemos posso segue abaixo tudo cada calma juntos parte ordem lógica forma fazer dar obrigado antes partes responder respondo entender entendamos atenção modo maneira ao apresento apresentar primeira lugar logo seguir adiante prazer sobre tentar tentemos tempo melhor raciocinando
mesma mesmo idêntica igual corresponde exatamente correta perfeita merece completamente máxima correspondem bem certo
referência gabarito

oplossing antwoord antwoorden redenering denkproces uitleg analyse samenvatting resultaat
denken stap stappen oplossen probleem vraag beginnen begin analyseren bekijken nadenken opgave uitleggen aanpakken overwegen uitwerken berekenen beredeneren overdenken
de het een dit deze laten laat we ik ons me mij voor na te om aan in op met van en is luidt zijn hier volgt volgende nu eerst dan dus natuurlijk zeker graag ga gaan zal zullen moet moeten kan kunnen zorgvuldig rustig nauwkeurig systematisch uiteindelijke mijn onze uw jouw detail over eens door hieronder er bij alles bedankt samen beantwoorden beantwoord werk werken kijken kijk begrijpen geef geven komt allereerst alvorens daarna verder zo plezier even proberen tijd begrepen
zelfde hetzelfde identiek komt overeen precies correct perfect verdient volledig juiste goed oké
referentie

rozwiązanie rozwiązania odpowiedź rozumowanie wyjaśnienie analiza podsumowanie wynik odpowiedzią rozwiązaniem
krok kroku kroki kroków rozwiążmy rozwiążę rozwiązać rozwiązywać problem zadanie pytanie tok pomyślmy myślenia myśleć zacznijmy zacząć przeanalizujmy rozważmy zastanówmy przeanalizować przejdźmy zajmijmy obliczyć obliczmy rozwiążemy rozwiązania analizy zadaniem zadania problemu myślimy pytaniem pytania przemyślmy
to ten ta tego te po w we z ze na do o i się jest brzmi oto moja moje nasza poniżej następująca najpierw teraz oczywiście więc zatem pewnie pozwól mi musimy muszę możemy mogę razem spokojnie uważnie dokładnie starannie ostateczna ostateczne nad tym za szczegółowo chwilę następnie szczegółach całe wszystko dziękuję żeby aby go ją je zaraz przechodzę przejdę odpowiem odpowiedzieć odpowiadam jak jako mój wyjaśnię wyjaśnić pokażę zrozumieć początek początku każdy kolei wszystkim przede proszę chętnie bardzo pierwsze przyjemnością spróbujmy warto trzeba dobrze
sama identyczna taka zgodna dokładnie poprawna idealna zasługuje pełni całkowicie maksymalną ocenę dobrze jak
referencyjna referencyjną wzorcowa wzorcową

řešení odpověď vysvětlení úvaha rozbor postup shrnutí výsledek
krok krokem kroku kroky vyřešme vyřešit vyřeším řešit problém úlohu úloha otázku otázka přemýšlejme přemýšlet začněme zamysleme rozeberme podívejme projděme zvažme pojďme promyslet spočítat spočítejme
za po to tento tuto tu ten v na o k s se si je zní zde moje naše nejprve teď nyní samozřejmě tedy pak pečlivě důkladně podrobně společně konečná musíme můžeme budu budeme nad tím následující postupně klidně všechno děkuji
správná dobře

lösning lösningen svar svaret resonemang förklaring analys resultat
tänka tänk steg lösa löser problemet problem frågan uppgiften börja börjar låt analysera fundera betrakta räkna
oss mig vi jag det den detta denna en ett för i på om med av och är här kommer följer nu först sedan så okej självklart ska måste kan noggrant försiktigt systematiskt slutgiltiga mitt min vårt igenom tillsammans genom lugnt att då till ta metodiskt
bra

løsning løsningen svar svaret ræsonnement forklaring resonnement analyse resultat
tænke tænk tenke steg skridt trin trinn løse løser problemet oppgaven opgaven spørgsmålet spørsmålet begynde begynne starte lad la analysere overveje regne
os oss mig meg vi jeg det den dette denne en et for i på om med af av og er her kommer følger nu nå først så okay selvfølgelig skal må kan omhyggeligt nøye grundig systematisk endelige mit min vores igennem gjennom sammen roligt at å ad til efter etter
godt

ratkaisu vastaus päättely selitys perustelu analyysi tulos
mietitään pohditaan ajatella askel askeleelta vaihe vaiheelta ratkaistaan ratkaisen ratkaista ongelma ongelmaa tehtävä tehtävän kysymys kysymystä aloitetaan aletaan käydään tarkastellaan lasketaan
tämä tämän tätä se sen on tässä minun nyt ensin sitten toki niin huolellisesti tarkasti rauhassa järjestelmällisesti lopullinen läpi ja yhdessä seuraava seuraavasti alla minä me voimme täytyy pitää asiaa kysymykseen
hyvä selvä

megoldás megoldása válasz magyarázat gondolatmenet levezetés elemzés eredmény
lépés lépésről lépésre gondolkodjunk gondoljuk oldjuk megoldjuk megoldom megoldani probléma problémát feladat feladatot kérdés kérdést kezdjük vizsgáljuk nézzük elemezzük számoljuk
a az ez ezt egy meg át végig itt van én mi most először aztán persze természetesen tehát akkor gondosan alaposan figyelmesen végső következő együtt és majd részletesen kell erre
helyes jó rendben

soluție soluția răspuns răspunsul raționament explicație analiză rezultat
pas pași gândim gândi rezolvăm rezolva problema problemă întrebare întrebarea începem analizăm examinăm parcurgem calculăm
cu de la în pe prin pentru a al ai ale și să este sunt iată mai jos acest această o un ne mă vom voi hai haideți acum întâi apoi desigur deci atent atenție sistematic final finală meu mea nostru următoarea trebuie putem împreună calm detaliu despre
corect bine

çözüm çözümü cevap cevabı yanıt yanıtı açıklama analiz akıl yürütme sonuç cevabım yanıtım çözümüm
adım adımda adımlar düşünelim düşünce düşünme çözelim çözeceğim çözmek problemi problem soruyu soru süreci başlayalım inceleyelim ele alalım bakalım anlayalım hesaplayalım çözüyorum düşünüyorum düşünerek analizi çözmeden çözüme
bu şu bir ve için ile de da işte benim bizim önce şimdi sonra tabii elbette peki öyleyse dikkatlice dikkatle sistematik ayrıntılı nihai son aşağıda aşağıdaki birlikte hadi üzerinde üzerine olarak şekilde hakkında gerekiyor detaylı sakince sorunun anlayalım anlamak cevaplayalım cevaplamak yanıtlayalım cevabım cevabımı yanıtım açıklayayım açıklayalım öncelikle soruya problemin memnuniyetle sizin size her sırayla sakin sonrasında vereyim veriyorum vermeden ilk anlamamız şöyle şöyledir biraz etmeliyiz lazım deneyelim
aynı aynıdır tam tamamen doğru mükemmel eşleşiyor birebir aynısı tamam iyi iyice
referans referansla

λύση απάντηση εξήγηση συλλογισμός ανάλυση αποτέλεσμα
βήμα βήματα λύσουμε λύσω σκεφτούμε σκεφτώ πρόβλημα ερώτηση ξεκινήσουμε αρχίσουμε αναλύσουμε εξετάσουμε δούμε υπολογίσουμε άσκηση
η ο το τη την τον της του τα αυτό αυτή αυτήν μας μου με σε για ας να θα προς πρώτα τώρα λοιπόν βέβαια φυσικά εδώ είναι παρακάτω ακολουθεί τελική προσεκτικά αναλυτικά συστηματικά πρέπει μπορούμε μαζί και από πάνω στο στην ένα κάθε μεθοδικά ήρεμα
σωστή εντάξει

решение ответ ответы рассуждение рассуждения объяснение разбор анализ итог результат пояснение
решим решу решить решать решаем шаг шага шагам шаги шагом пошагово подумаем подумать думать задачу задача задаче задачи вопрос вопроса вопросе начнем начнём рассмотрим разберем разберём разобраться разберемся ход мыслей рассуждений проблему проблема обдумаем поразмыслим вычислим проанализируем приступим посчитаем условие условия решению решения поразмышляем размышления обдумать анализируем анализа анализировать изучим рассуждать порассуждаем вникнем
это эту этой этот эта этим этом все всё за по к на в во с со над о об и мы я нам мне давайте давай сначала теперь итак конечно ладно затем потом вот мой мое моё наш ниже следующий таков окончательный внимательно тщательно аккуратно подробно спокойно системно нужно надо будем буду вместе как следует для чтобы детально сейчас последовательно пошаговое является логически порядку хочу спасибо ваш ваше подробный полный немного ответить отвечу отвечаю приступим объясню объяснить понять поймем разберу порядке по-порядку очередь первую прежде чем удовольствием понятно так дам начала разберём попробуем стоит
такой тот же совпадает идентичен полностью точно верен верный идеальный идеален заслуживает абсолютно правильный максимальной высшего высшей хорошо
эталон эталоном эталону эталонным эталонному

рішення розвязання розв'язання відповідь міркування пояснення аналіз розвязок результат
крок кроком кроки розвяжемо розв'яжемо вирішимо вирішити розвязати задачу задача завдання питання подумаємо поміркуємо почнемо розглянемо розберемо проаналізуємо обчислимо хід думок умову умови аналізу крокові розвязувати розв'язуємо вирішувати розмірковуємо питанням міркувати
це цю цього цим цієї за по до на в у з із над і та ми я нам мені давайте спочатку тепер отже звичайно звісно потім ось моя наша нижче наступна остаточна уважно ретельно детально спокійно потрібно треба будемо разом покрокове послідовно системно така щоб зараз спершу відповісти відповім відповідаю перейдемо приступимо пояснити поясню зрозуміти кожен порядку перш ніж радо початку задоволенням моє спробуємо варто
правильна добре

решение отговор разсъждение обяснение анализ резултат
стъпка стъпки решим реша помислим задача задачата въпрос въпроса проблем проблема започнем разгледаме обмислим анализираме изчислим
това този тази за по на в с със над и ние аз да нека ще сега първо после разбира се тук е моят окончателен окончателният внимателно подробно заедно трябва ето следва следният систематично към
правилният добре

פתרון הפתרון תשובה התשובה הסבר נימוק ניתוח תוצאה
צעד צעדים שלב אחר נפתור אפתור לפתור נחשוב לחשוב בעיה הבעיה שאלה השאלה נתחיל ננתח נבחן לנתח נחשב התרגיל חושבים פותרים נעבור
את זה הזה הזאת זאת זו של על אני אנחנו לי לנו בואו בוא קודם עכשיו אז כמובן כן הנה להלן היא הוא הסופית שלי בזהירות ביסודיות בעיון צריך צריכים יחד בשלב לשלב בצורה מסודרת שיטתית הבאה כדי לשאלה לבעיה אענה לענות אסביר להסביר נבין להבין סדר לפי לעומק ברצון בשמחה תחילה ראשית לאחר מכן בהתחלה ננסה רב
נכונה טוב בסדר היטב

حل الحل جواب الجواب إجابة الإجابة تفسير شرح الشرح تحليل نتيجة النتيجة إجابتي جوابي إجابتك
خطوة بخطوة خطوات نحل لنحل سأحل لنفكر نفكر المسألة مسألة المشكلة السؤال سؤال لنبدأ نبدأ لنحلل التفكير عملية لننظر سأفكر دعنا دعونا دعني أفكر أحل نحلل لنتأمل التحليل سنحل سنحلل سنفكر بعد لحل حلها نحللها الخطوات للتفكير والتفكير لنفهم نفهم سنبدأ المسائل للمسألة للسؤال
هذه هذا هو هي في على من إلى عن مع و أولا أولاً الآن ثم حسنا حسنًا حسناً بالطبع بالتأكيد إليك إليكم النهائية النهائي كما يلي بعناية بتأن بدقة بهدوء بالتفصيل معا معًا معاً سوف يجب علينا علي أن سأقوم بـ بشكل منهجي التالية التالي لي الخاصة بي قبل كل شيء بعد سنبدأ للإجابة أجيب سأجيب سأشرح أشرح سنقوم بحل بتحليل بهذه هدوء والآن وسوف لكي لكم لك بترتيب واحدة تلو الأخرى البداية بكل سرور نحاول فهم
نفس مطابقة تطابق تماما صحيحة مثالية الصحيحة جيدا
المرجعية المرجع

پاسخ جواب راهحل راه حل توضیح استدلال تحلیل نتیجه
گام قدم مرحله حل کنیم میکنم میکنیم فکر مسئله مساله سوال پرسش شروع بررسی بیایید بیا تحلیل محاسبه
این را به با در از که و من ما بگذارید اجازه دهید ابتدا اکنون حالا سپس بله البته نهایی است زیر دقت آرامی کامل برای باید کنم هم دقیق صورت مرحلهبهمرحله گامبهگام قدمبهقدم روی میشود درباره طور

हल समाधान उत्तर जवाब व्याख्या विश्लेषण तर्क परिणाम
चरण चरणों कदम सोचें सोचते सोचता विचार करें करते प्रश्न सवाल समस्या शुरू समझते समझें देखते गणना हल सोचना सोचेंगे सोचकर समझना करूँगा
आइए आओ चलिए चलो इसे इस को का की के में से पर और है हैं हम मैं मुझे हमें पहले अब फिर बिल्कुल ज़रूर यहाँ यहां मेरा नीचे अंतिम निम्नलिखित ध्यान ध्यानपूर्वक सावधानी विस्तार दर ब बारे यह रहा करेंगे करूँगा करूंगा चाहिए एक साथ तरीके लिए करके करने होगा जानते दूँगा दूंगा देता देते जाए सबसे धीरे गहराई दें करता उस तो समझना ज़रूरी खुशी मिलकर कोशिश
समान वही बिल्कुल पूरी तरह मेल खाता
संदर्भ

সমাধান উত্তর ব্যাখ্যা বিশ্লেষণ যুক্তি ফলাফল
ধাপে ধাপ চিন্তা ভাবি সমস্যা সমস্যাটি সমস্যাটির প্রশ্ন প্রশ্নটি প্রশ্নের শুরু বিবেচনা করি দেখি
আসুন চলুন চলো এটি এই এবং আমরা আমি আমাকে প্রথমে এখন তারপর আছে অবশ্যই এখানে আমার নিচে চূড়ান্ত হল হলো সাবধানে মনোযোগ দিয়ে সম্পর্কে যাক একসাথে বিস্তারিত বিস্তারিতভাবে করব করা দেওয়া নিয়ে

தீர்வு பதில் விடை விளக்கம் பகுப்பாய்வு
படிப்படியாக படி சிந்திப்போம் யோசிப்போம் தீர்ப்போம் கணக்கை கேள்வி கேள்வியை சிக்கலை பிரச்சனையை பிரச்சினையை தொடங்குவோம் பார்ப்போம் ஆராய்வோம் செயல்முறை
இந்த இதை இது நாம் நான் முதலில் இப்போது நிச்சயமாக இதோ எனது என் கீழே இறுதி கவனமாக பற்றி ஒன்றாக விரிவாக மற்றும் பிறகு
சரி

సమాధానం జవాబు పరిష్కారం వివరణ విశ్లేషణ
దశలవారీగా దశల వారీగా అడుగు ఆలోచిద్దాం పరిష్కరిద్దాం సమస్య సమస్యను ప్రశ్న ప్రశ్నను ప్రారంభిద్దాం చూద్దాం పరిశీలిద్దాం
ఈ ఇది దీన్ని మనం నేను ముందుగా మొదట ఇప్పుడు తప్పకుండా ఇక్కడ ఇదిగో నా క్రింద తుది జాగ్రత్తగా గురించి కలిసి వివరంగా తర్వాత
సరే

คำตอบ วิธีทำ เฉลย คำอธิบาย วิธีแก้ การวิเคราะห์ ผลลัพธ์
ขั้นตอน คิด แก้ แก้ปัญหา ปัญหา คำถาม โจทย์ เริ่ม เริ่มต้น พิจารณา วิเคราะห์ กระบวนการ ทำ ดู ลอง คำนวณ ขั้น
คือ ทีละ มา นี้ กัน เรา ผม ฉัน ดิฉัน จะ ให้ ขอ ก่อน อื่น แรก ตอนนี้ แล้ว โอเค แน่นอน ครับ ค่ะ คะ ได้ ดังนี้ ด้านล่าง ของ สุดท้าย ที่ อย่าง รอบคอบ ละเอียด ระมัดระวัง เป็น ไป โดย ต้อง และ ด้วย เกี่ยวกับ ตาม ลำดับ กับ ช้าๆ ช้า นี่ ตอบ อธิบาย ทำความ เข้าใจ ต่อไป พร้อม เลย ยินดี หา ข้อ ใน การ มี ด้วยกัน พยายาม ควร
ดี

giải án đáp lời trả
bước suy nghĩ bài toán vấn đề hỏi bắt đầu phân tích xem xét quá trình tính
hãy chúng ta tôi mình cùng để này đây câu là của từng một về và trước tiên hết bây giờ sau đó được rồi chắc chắn tất nhiên vâng dưới cuối cẩn thận kỹ lưỡng chi tiết cách theo thứ tự sẽ cần phải có thể cho nào lập luận thích như làm hệ thống với bạn xin nhé lần lượt kĩ lại đầu sẵn lòng rất vui hiểu thử nên
rõ

solusi jawaban jawabannya jawapan penyelesaian penjelasan analisis pembahasan hasil
langkah langkahnya pikirkan berpikir selesaikan menyelesaikan memecahkan masalah soal pertanyaan mulai memulai mempertimbangkan pertimbangkan menganalisis analisa proses pemikiran fikirkan soalan kerjakan menjawab menghitung soalnya berpikirlah memikirkan
mari kita saya kami demi ini itu adalah berikut di bawah akhir pertama sekarang kemudian lalu baiklah tentu saja oke hati dengan secara cermat teliti sistematis tentang untuk dan yang akan perlu harus dapat bisa bersama terlebih dahulu rinci marilah satu per biarkan tenang jelaskan izinkan jawab memahami pahami menjelaskan memberikan berikan hal berikutnya selanjutnya sebelum setelah senang mula ayo bersama-sama coba mencoba
sama persis sempurna identik sepenuhnya cocok baik
referensi

jibu suluhisho majibu maelezo ufafanuzi uchambuzi matokeo
hatua tufikirie fikiria kufikiri tutatue tatue kutatua nitatue tatizo swali tuanze kuanza tuchambue tuangalie hesabu
hili hii hapa ni la ya wa kwa na katika sasa kwanza kisha bila shaka basi hebu yangu mwisho chini makini uangalifu pamoja nita tuta kuhusu taratibu utaratibu lifuatalo lazima
sawa

解 解答 解法 解析 答案 答 思路 分析 推理 解题过程 解题思路 解題過程 回答 回复 回覆 总结 摘要 總結 说明 說明 答复 结论
思考 想 想想 一步 步骤 步驟 逐步 解决 解決 问题 問題 这个问题 题 题目 題目 开始 開始 过程 過程 考虑 考慮 分步 步步 来看 來看 理解 推导 推導 计算 計算 求解 梳理 任务 解题 解題 解释 解釋 探讨 思索 琢磨 审题
让 讓 我们 我們 我 您 你 来 來 先 再 地 的 是 这 這 这个 這個 这道 這道 道 此 该 該 一下 首先 现在 現在 接下来 接下來 然后 然後 好的 当然 當然 可以 以下 下面 如下 为 為 最终 最終 最后 仔细 仔細 认真 認真 详细 詳細 给出 給出 需要 要 会 會 将 將 请 請 看 一 吧 去 进行 進行 慢慢 系统 系统地 系統 关于 了 就 把 个 在 这里 一起 从 從 有条理 来说 就是 很 高兴 为您 完成 提供 仔细地 来自 思 考一下 理一理 按 按照 顺序 回答您 您的 你的 一步一步 一步一步地 着手 说说 讲解 从头 想一想 乐意 很高兴 试着 应该 必须 明白 审题
与 和 跟 相同 一样 一致 完全 完全一致 完美 满分 应得 得 应该 值得 获得 给 标准 评分 好 清楚 清晰 完整
参考 參考 参考答案 參考答案 标准答案 標準答案

解説 かいせつ 回答 こたえ 答え 解答 解決策 思考プロセス 解法 要約 説明 分析 結論
考え 考える 考えて 考えましょう 考えよう ステップ 段階 段階的 一歩 一歩一歩 順 順番 順を追って 解い 解く 解きましょう 解こう 解決 問題 質問 始め 始める 始めましょう 見 見て 思考 プロセス 分析 検討 整理 計算 取り組み 手順 ステップごと 理解 考えてみましょう
は を の に で と が も この その これ それ では まず 次 最初 さあ はい わかりました 分かりました もちろん 承知 しました です ます し して しましょう する いき いきます いきましょう いく みましょう みよう みます ましょう 私 私たち 一緒に バイ 的 以下 下記 通り とおり 最終 最終的 な じっくり 丁寧 慎重 ゆっくり 詳しく から ため つい て について ここ へ よく 追って 提示 だ 必要 ある があります させて ください それでは ひとつ ずつ 一つ ここでは ごと ごとに まとめ 最初に 状況 しっかり ていき 考えます 答えます 答えを 説明します 見ていき 取りかかり 早速 では、 に対する 喜んで 私の 次の 通りです 必要があります とりあえず 試し
同じ 完全 一致
模範解答 参照解答

해설 풀이 해답 정답 답 답변 설명 분석 결과 정답은 답은 풀이는 답변은 해결책 결론 답변입니다 답입니다 풀이입니다
단계별로 단계 단계로 생각해 생각하고 생각 생각하며 차근차근 풀어봅시다 풀어보겠습니다 풀어 풀어보자 문제를 문제 문제는 문제에 질문 질문에 질문을 해결해 해결 시작 시작하겠습니다 시작해 시작합시다 살펴보겠습니다 살펴봅시다 분석해 과정 사고 고민해 대해 설명하겠습니다 답변을 답을 풀이를 답하겠습니다 계산해 생각해보겠습니다 생각해봅시다 풀겠습니다 분석하겠습니다 생각합니다 문제부터
이 그 저 저는 제 제가 우리 함께 먼저 이제 그럼 그러면 네 물론입니다 물론 물론이죠 알겠습니다 봅시다 보겠습니다 보자 하겠습니다 합시다 한 걸음씩 하나씩 단계씩 다음과 같습니다 다음은 아래 아래는 여기 최종 올바른 신중하게 꼼꼼히 꼼꼼하게 자세히 천천히 체계적으로 위해 대한 관해 드리겠습니다 있습니다 주의 깊게 정확하게 더 및 순서대로 답변입니다 답변드리겠습니다 우선 풀어보겠습니다 답입니다 이해해 차례대로 정리해 봅니다 봐요 볼게요 드릴게요 할게요 하나하나 다시 기꺼이 해야 합니다 이해해야 이해할 필요가 볼까요 노력하겠습니다
같습니다 동일합니다 일치합니다 완벽합니다 완전히 정확히 만점을 좋습니다 잘
모범답안 모범
"""  # noqa: E501, RUF001 - one line per kind; words of many scripts


class Words(NamedTuple):
    """The folded words, with the languages of each as bits.

    talk: the first four lines. any: all lines. names, work, likeness, grader: lines 1, 2, 4 and 5.
    longest: letters of the longest word.
    """

    talk: dict[str, int]
    any: dict[str, int]
    names: dict[str, int]
    work: dict[str, int]
    likeness: dict[str, int]
    grader: dict[str, int]
    longest: int


@cache
def read_words() -> Words:
    """All words, read on first use (about 10 ms)."""
    lines: list[dict[str, int]] = [{} for _ in range(5)]
    talk: dict[str, int] = {}
    every: dict[str, int] = {}
    for number, block in enumerate(LANGUAGES.strip().split("\n\n")):
        for kind, line in enumerate(block.split("\n")):
            for word in fold(line).split():
                for known in (lines[kind], every, *([talk] if kind < GRADER else [])):
                    known[word] = known.get(word, 0) | 1 << number
    names, work, _, likeness, grader = lines
    return Words(talk, every, names, work, likeness, grader, max(map(len, every)))
