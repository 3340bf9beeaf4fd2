"""The graph dialect as an ONNX model, quantize and dequantize included: for other runtimes."""
