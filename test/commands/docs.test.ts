import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run, skipsWithout } from '../integration/programs.js';
import { root } from '../integration/run-remio.js';

const skip = skipsWithout('the commands of docs/topology.md, docs/boards.md and docs/keys.md', 'bash');

describe.skipIf(skip)('pages', () => {
  it.each(['docs/topology.md', 'docs/boards.md', 'docs/keys.md'])(
    '%s has commands that print what it says',
    async (page) => {
      const ended = await run(process.execPath, join(root, 'tools', 'docs-console.mjs'), page);
      expect(ended).toMatchObject({ code: 0, stderr: '' });
    },
  );
});
