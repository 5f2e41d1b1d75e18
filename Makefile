# SPDX-License-Identifier: Apache-2.0
# The same names as ./run, for those who type make. Arguments: make test ARGS="tests/unit -k webhook"
.PHONY: help demo up test check bench faults fuzz

help:
	@./run

demo up test check bench faults fuzz:
	@./run $@ $(ARGS)
