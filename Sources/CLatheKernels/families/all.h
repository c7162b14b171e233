#include "before_table.h"
#include "table.h"
