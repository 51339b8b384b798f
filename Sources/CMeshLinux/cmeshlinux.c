#include "cmeshlinux.h"
