package gateway

import "flag"

var rewrite = flag.Bool("rewrite", false, "write testdata from what the code does; review the difference")
