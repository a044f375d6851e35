"""The learning law: weights of training examples that minimise the area under the loss curve (arXiv:2402.17759)."""
