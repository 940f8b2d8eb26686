// SPDX-License-Identifier: GPL-2.0
/* What races with a sync where the memory is mapped, and written back, by 1 GiB. */
#include "sync_races_pins.h"

int main(int argc, char **argv)
{
	race.namespace = "namespace4.0";
	race.length = 1UL << 30;
	race.turns = 2;
	race.seconds = 1;
	return sync_races_main(argc, argv, "region4", "namespace4.0:align=1G");
}
