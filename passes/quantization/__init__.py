"""What the quantizing passes share.

`schemes` says how real numbers become codes, `observers` which range of them is worth covering,
`layers` what in a module is quantized, `calibration` runs the module on samples, `gptq` and `awq`
choose the codes of weights by what the layer's result loses.
"""
