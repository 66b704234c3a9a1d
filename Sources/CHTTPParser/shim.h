// The one door to libhttp-parser; only HTTPWire opens it.
#include <http_parser.h>

// Results of a run, which the parser keeps in bit-fields.
static inline unsigned gatehouse_parser_error(const http_parser *parser) { return parser->http_errno; }
static inline unsigned gatehouse_parser_method(const http_parser *parser) { return parser->method; }
