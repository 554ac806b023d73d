"""What `judge package` makes: the function's zip, a layer, and the policies of the roles around it.

Pure building: nothing here talks to AWS. Wheels come through pip, which is asked by name and version.
"""
