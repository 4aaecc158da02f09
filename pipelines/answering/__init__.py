"""The steps of the support flow: documents, tickets, training, limits, publishing."""
