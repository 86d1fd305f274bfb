"""Task heads put to work: texts in, labels, entities, answers and filled-in words out."""
