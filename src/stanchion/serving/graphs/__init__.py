"""Models made of models at work: each kind of graph as one call, whose members are asked through serving."""
