"""Asynchronous exchange: actors sample and score all the time, one or more learners learn from it.

An actor holds sampler, oracle and judge. It draws facts, scores its questions, admits them to the
replay that all share, and reports them. The learner learns from reported questions and from
replayed ones, and publishes its adapter. Two bounds keep it honest: how many versions behind a
reported question may be (`ledger.py`) and how many steps may learn from it (`uses.py`). Of several
learners the first has the exchange, and deals each step's questions to all (`deal.py`).

`cluster.py` and `ray_pool.py` alone know Ray; all other files work with any `Pool`.
"""
