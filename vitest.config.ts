import { defineConfig } from 'vitest/config';

/** Workspace packages are tested from their sources, without a build in between. */
const conditions = ['@remio/source', 'node', 'import', 'module', 'default'];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions } } };

/** Tests that need nothing of the machine but a CPU: side by side. */
const sideBySide = { maxWorkers: '100%', sequence: { groupOrder: 0 } };

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          ...sideBySide,
          // Nothing that is tested here keeps state outside of what a test makes.
          isolate: false,
          include: ['{packages,apps}/*/src/**/*.test.ts', 'test/{conformance,property,hostile,tidy}/**/*.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'commands',
          ...sideBySide,
          include: ['test/commands/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        ...shared,
        test: {
          // On a Docker engine, for which they wait most of the time: `npm test` runs them beside all others.
          name: 'containers',
          sequence: { groupOrder: 2 },
          include: ['test/containers/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        ...shared,
        test: {
          // Platforms of several processes, which have the machine to themselves: one file after the other.
          name: 'integration',
          sequence: { groupOrder: 1 },
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
