#!/usr/bin/env node
// Runs Compose with the project's file, with whichever generation of it there is:  npm run compose -- up
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Exit code where the host lacks something, as of `remio`. */
const ENVIRONMENT = 3;
const file = join(dirname(fileURLToPath(import.meta.url)), '..', 'deploy', 'compose.yaml');
const quiet = { stdio: 'ignore' };
const works = (command, ...args) => spawnSync(command, args, quiet).status === 0;

const found = [['docker', 'compose'], ['docker-compose']].find(([command, ...before]) =>
  works(command, ...before, 'version'),
);
if (found === undefined) {
  console.error('there is neither docker compose nor docker-compose; install one, or use npm run remio -- up');
  process.exit(ENVIRONMENT);
}
if (!works('docker', 'info')) {
  console.error('the Docker engine does not answer: start it, or use a user that may talk to it');
  process.exit(ENVIRONMENT);
}
const [command, ...before] = found;
// Compose handles Ctrl-C itself, and this process waits for it.
process.on('SIGINT', () => {});
const args = process.argv.slice(2);
const given = args.length === 0 ? ['up'] : args;
const { status, signal } = spawnSync(command, [...before, '-f', file, ...given], {
  stdio: 'inherit',
  env: { COMPOSE_PROJECT_NAME: 'remio', ...process.env },
});
process.exit(status ?? (signal === null ? 1 : 128));
