"""TFLite's int8 reference kernels in numpy, bit for bit, over a batch of samples.

Every tensor that a kernel takes carries one leading sample axis that is not in the file: a tensor of file shape (a,
b) is an array (S, a, b). A constant has S = 1 and broadcasts, except for weights and biases, which are taken as they
are in the file. Axes in options refer to the file shape. Where TFLite's C++ would overflow, abort or refuse, the
kernel raises QuantError.
"""
