"""What routing has decided: told in words (`relaisctl explain`), and proved (`replay-pool`).

story.py tells a call's events, words.py has the small words; log.py reads of the topics what is
needed, codec.py makes events of it; explain.py and replay.py are the commands, ledger.py compares.
"""
