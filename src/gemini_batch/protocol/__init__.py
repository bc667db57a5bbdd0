"""One typed description of the service's request messages, read by validation and emulator alike.

``schema.json`` is generated from the published schema. :mod:`newer` and :mod:`rules` are kept by hand: what official
clients send and the schema lacks, and what the service refuses although the schema allows it.
"""
