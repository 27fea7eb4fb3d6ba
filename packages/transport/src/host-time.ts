// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { hrtime } = process;

/** Nanoseconds on the host's monotonic clock. */
export const hostTime = (): number => {
  const [seconds, nanoseconds] = hrtime();
  return seconds * 1e9 + nanoseconds;
};
