# Prints the flags that Kamailio's own makefiles compile with; run in the tree's src folder, where it writes nothing.
main_makefile=1
exported_vars=0
COREPATH=.
include Makefile.defs
$(info FLAGS $(C_DEFS))
.PHONY: none
none: ; @:
