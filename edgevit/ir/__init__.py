"""The intermediate representation: types, ops, graphs, their text form, verifier and reference interpreter."""
