"""What keeps a long training safe: its directory, tokens, processes, pictures and command line.

The program hands it the class of the model (contract.py), so that nn.run never imports the program.
The rest of nn never imports nn.run. Read directory.py first, then training.py and crew.py.
"""
