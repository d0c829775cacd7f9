"""Evaluation: results against references, with definitions, intervals and the name of the data set."""
