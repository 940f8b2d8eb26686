// SPDX-License-Identifier: GPL-2.0
/* What races with a sync where fs/dax.c maps the pages. They cannot be pinned for long. */
#include "sync_races.h"

int main(int argc, char **argv)
{
	race.namespace = "namespace0.0";
	race.length = 2 * SZ_2M;
	race.turns = 64;
	race.seconds = 1;
	return sync_races_main(argc, argv, NULL, "namespace0.0:mode=fsdax");
}
