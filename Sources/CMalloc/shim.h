// glibc's own calls about its heap, which Swift's Glibc module leaves out; declared as in <malloc.h>, which would bring in headers that
// are part of that module.
#include <stddef.h>

extern int mallopt(int parameter, int value);
extern int malloc_trim(size_t pad);

// mallopt(3).
enum { gatehouse_trim_threshold = -1, gatehouse_mmap_threshold = -3 };
