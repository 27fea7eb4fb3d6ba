/** Entropy device (5.4). It has no feature bits and no configuration of its own. */

/** Virtqueues (5.4.2). */
export const ENTROPY_REQUESTQ = 0;
