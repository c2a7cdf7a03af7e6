"""Labels of predictions, the resolved label of each prediction, and the queue of predictions to label next."""
