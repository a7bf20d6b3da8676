"""Adapters (LoRA and its relatives) in the forms people publish, read by one parser and put into the base network.

`read` turns a file into factors per layer of the network (`keys`: what a tensor is; `names`: which layer it belongs to;
`settings`: alpha and rank from the configurations beside it). `install` puts them into the network through PEFT's layer
classes, `patches` holds whole tensors that an adapter replaces, and `verify` compares what was installed with what was
read.
"""
