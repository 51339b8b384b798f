// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* No program: the object from which nodemeshd creates the maps. */
#include "maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
