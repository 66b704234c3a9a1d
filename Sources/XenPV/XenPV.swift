// XenPV
