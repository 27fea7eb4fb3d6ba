/**
 * Where collections found most of the objects alive that one place in the code made, V8 has that place make old ones from
 * then on. What starts a platform lives long and what runs it does not, though it comes from the same places: in some
 * processes accesses left everything to the collector of old objects, and took twice as long.
 */
export const NO_PRETENURING = '--no-allocation-site-pretenuring';
