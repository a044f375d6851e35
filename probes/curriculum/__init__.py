"""Solved examples before a question, chosen by a score of their difficulty and compared with the obvious alternatives.

The protocol is that of sparsity-guided curriculum in-context learning (arXiv:2603.03415), with the controls that it
lacks: the same retrieval and the same rule with another score, or with a meaningless one.
"""
