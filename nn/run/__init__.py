"""What keeps a long training safe: its directory, tokens, processes, pictures and command line.

It is handed the class of the model (contract.py) and never imports the program; the rest of nn
does not import it. Read directory.py first, then training.py and crew.py.
"""
