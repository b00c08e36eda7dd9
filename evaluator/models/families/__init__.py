"""One module per family: builds the network of a card, fills it with checked weights, and puts it behind the interfaces."""
