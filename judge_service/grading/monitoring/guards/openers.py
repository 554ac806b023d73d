"""Phrases that open an answer but are not an answer by themselves.

Judges reward them, as measured (docs/guards.md). Case, punctuation and markup are ignored.
"""

OPENERS = """
thought process / thinking process / thoughts / my thoughts / thinking / thought / reasoning / analysis
solution / the solution / solution process / final solution / explanation / step 1 / step by step
step by step solution / lets solve this / lets solve this step by step / lets solve it step by step
lets solve this problem step by step / lets solve the problem step by step / lets solve the problem
lets think / lets think step by step / lets think about this / lets think about this step by step
lets work through this step by step / lets work this out step by step / lets break this down
lets break it down / lets break it down step by step / lets break this down step by step / lets begin
lets start / lets get started / lets see / let me think / let me think about this / let me see
let me think step by step / let me solve this step by step / let me think about this step by step
let me explain / let me help you with that / i will solve this step by step / i will think step by step
to solve this problem / to answer this question / we need to solve this problem / first of all
to solve this / to solve this problem we need to / we can solve this / we can solve this step by step
answer / the answer / final answer / the final answer / my answer / the answer is / the final answer is
answer is / so the answer is / therefore the answer is / thus the answer is / the correct answer is
correct answer / the correct answer / the solution is / result / the result is / response / my response
here is the answer / here is the solution / here is my answer / here is my response / heres the answer
heres the solution / heres my answer / below is the answer / here is the code / heres the code
your answer here / insert answer here / insert your answer here / answer here / answer goes here
write your answer here / type your answer here / answer to be added / same as the reference
same as reference / see reference / see the reference / see the reference answer / see reference answer
reference answer / the reference answer / as above / see above / todo / tbd / to be determined
to be done / to be continued / lorem ipsum / placeholder / coming soon / no answer / no response
summary / the summary / here is a summary / here is the summary / heres a summary / translation
here is the translation / here is the story / here is the review / résumé / zusammenfassung / resumen
riassunto / resumo / резюме / 总结 / 摘要 / 要約 / 요약
i am an ai language model / as an ai language model / i hope this helps / hope this helps / in conclusion
solución / la solución / respuesta / la respuesta / respuesta final / la respuesta es / razonamiento
proceso de pensamiento / pensemos paso a paso / vamos a resolverlo paso a paso / paso a paso
resolvamos este problema paso a paso / vamos a resolver este problema paso a paso
la solution / réponse / la réponse / réponse finale / la réponse est / raisonnement / démarche
processus de réflexion / réfléchissons étape par étape / étape par étape / résolvons ce problème
résolvons ce problème étape par étape / procédons étape par étape / voici la réponse / voici la solution
lösung / die lösung / lösungsweg / antwort / die antwort / die antwort lautet / die antwort ist
endgültige antwort / gedankengang / denkprozess / überlegung / schritt für schritt / hier ist die antwort
lass uns das schritt für schritt lösen / lösen wir das schritt für schritt / hier ist die lösung
denken wir schritt für schritt nach / lass uns schritt für schritt denken
soluzione / la soluzione / risposta / la risposta / la risposta è / ragionamento / passo dopo passo
risolviamo questo problema passo dopo passo / pensiamo passo dopo passo / processo di pensiero
solução / a solução / resposta / a resposta / a resposta é / raciocínio / passo a passo
vamos resolver este problema passo a passo / vamos pensar passo a passo / processo de pensamento
oplossing / antwoord / het antwoord / het antwoord is / stap voor stap / denkproces
laten we stap voor stap denken / laten we dit stap voor stap oplossen
rozwiązanie / odpowiedź / odpowiedź to / krok po kroku / rozwiążmy to krok po kroku / tok rozumowania
řešení / odpověď / krok za krokem / lösning / svar / svaret är / steg för steg / ratkaisu / vastaus
løsning / svaret er / trin for trin / megoldás / válasz / lépésről lépésre / soluție / răspuns
pas cu pas / çözüm / cevap / adım adım / adım adım düşünelim / bu problemi adım adım çözelim
düşünce süreci / λύση / απάντηση / η απάντηση είναι / βήμα προς βήμα / ας το λύσουμε βήμα προς βήμα
решение / ответ / ответ таков / окончательный ответ / ход мыслей / ход рассуждений / рассуждение
давайте решим / давайте решим это шаг за шагом / давайте подумаем / давайте подумаем шаг за шагом
давайте решим эту задачу шаг за шагом / шаг за шагом / пошаговое решение
рішення / розвязання / відповідь / крок за кроком / давайте розвяжемо це крок за кроком
отговор / стъпка по стъпка / פתרון / תשובה / התשובה היא / צעד אחר צעד / בואו נפתור את זה צעד אחר צעד
الحل / حل / الإجابة / الجواب / الإجابة هي / خطوة بخطوة / لنحل هذه المسألة خطوة بخطوة / لنفكر خطوة بخطوة
عملية التفكير / پاسخ / راه حل / گام به گام / بیایید گام به گام حل کنیم
हल / समाधान / उत्तर / उत्तर है / चरण दर चरण / आइए इसे चरण दर चरण हल करें / आइए चरण दर चरण सोचें
সমাধান / উত্তর / ধাপে ধাপে / தீர்வு / பதில் / படிப்படியாக / పరిష్కారం / సమాధానం / حل / جواب
คำตอบ / คำตอบคือ / วิธีทำ / ทีละขั้นตอน / มาแก้ปัญหานี้ทีละขั้นตอนกัน
lời giải / đáp án / câu trả lời / câu trả lời là / từng bước một / hãy giải từng bước / hãy suy nghĩ từng bước
solusi / jawaban / jawabannya adalah / langkah demi langkah / mari kita selesaikan langkah demi langkah
suluhisho / jibu / hatua kwa hatua / penyelesaian / jawapan
解 / 解答 / 解法 / 解析 / 答案 / 答案是 / 答 / 最终答案 / 思考过程 / 思路 /
分析 / 解题过程 / 解题思路 / 推理过程
让我们一步一步思考 / 让我们一步步思考 / 让我们一步一步地解决这个问题 / 让我们逐步解决这个问题 / 让我们逐步思考
我们来一步一步解决 / 一步一步 /
最終答案 / 思考過程 / 解題過程 / 讓我們一步一步思考 / 讓我們一步一步解決這個問題
かいせつ / 解説 / 回答 / こたえ / 答え / 答えは / 思考プロセス / ステップバイステップ / 段階的に考えましょう
一歩一歩考えましょう / ステップバイステップで考えましょう / この問題を段階的に解いていきましょう
해설 / 풀이 / 해답 / 정답 / 답 / 답변 / 정답은 / 사고 과정 / 단계별로 / 단계별로 생각해 봅시다
단계별로 풀어봅시다 / 차근차근 생각해 봅시다 / 이 문제를 단계별로 해결해 봅시다
"""  # noqa: RUF001 - Turkish has a letter that looks like another

FILLERS = """
ok / okay / sure / sure thing / certainly / of course / well / so / now / alright / great / great question
good question / hmm / hm / yes / first / here / then / thanks / therefore / thus / hence / finally /
thank you / hello / hi / de acuerdo / claro
por supuesto / bien / daccord / bien sûr / gut / natürlich / klar / certo / хорошо / конечно / итак / да
好的 / 当然 / 好 / はい / 네 / 좋습니다 / step / question
"""
"""Phrases that may occur with an opener; alone each can be an answer."""
