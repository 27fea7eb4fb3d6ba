/**
 * V8 gives objects that come from one place in the code and outlived a few collections straight to the old ones from then
 * on, and never looks again. What starts a platform lives long and what runs it does not, though it comes from the same
 * places: in one process of three, accesses left everything to the collector of old objects, and took twice as long.
 */
export const NO_PRETENURING = '--no-allocation-site-pretenuring';
