import { setFlagsFromString } from 'node:v8';
import { NO_PRETENURING } from '@remio/base';
import type { STAR_WORK } from '@remio/topology';
import { Argument, Command, CommanderError, Option } from 'commander';
import type { BenchOptions } from './bench/index.js';
import { BENCHES } from './bench/list.js';
import type { BoardsOptions } from './command-boards.js';
import type { CHECK_FORMATS, CheckOptions } from './command-check.js';
import type { ConformOptions } from './command-conform.js';
import type { DemoOptions } from './command-demo.js';
import type { ENGINES, RenderOptions } from './command-deploy.js';
import type { ExportOptions } from './command-export.js';
import type { GenerateStarOptions } from './command-generate.js';
import type { GraphOptions } from './command-graph.js';
import type { HostileOptions } from './command-hostile.js';
import type { ImportOptions } from './command-import.js';
import type { KeysOptions } from './command-keys.js';
import type { RingOptions } from './command-ring.js';
import type { UpOptions } from './command-up.js';
import { CommandError, EXIT } from './exit-codes.js';
import { experimentCommands } from './experiment-commands.js';
import { collect, whole, words } from './option-values.js';

// What a command needs is loaded when it is asked for: all of it together takes most of a second.

setFlagsFromString(NO_PRETENURING);

const imageOption = (): Option =>
  new Option('--image <NAME=PATH>', 'disk image of a device (PATH alone: of every device)')
    .argParser(collect)
    .default([]);

const program = new Command('remio')
  .description('A multi-VM platform with the Bao hypervisor’s Remote I/O, simulated by cooperating processes')
  .version('0.1.0')
  .enablePositionalOptions()
  .exitOverride()
  .showHelpAfterError('(remio --help tells more)')
  .addHelpText(
    'after',
    `
Examples:
  remio demo                                          both architectures, a generated disk
  remio up deploy/topologies/ping-aarch64.yaml --image disk.img
  remio check my-topology.yaml
  remio conform test/vectors/remio/*.json --profile reference

Exit codes: 0 done; 1 ran, and the answer is no; 2 wrong arguments or input; 3 the host lacks something;
130 and 143 stopped by SIGINT and SIGTERM.`,
  );

let code: number = EXIT.OK;

program
  .command('up <FILE>')
  .description('boot a topology, show state and latencies until stopped')
  .addOption(imageOption())
  .addOption(
    new Option('--engine <ENGINE>', 'separate processes, one, or virtual time')
      .choices(['processes', 'inproc', 'virtual'])
      .default('processes'),
  )
  .option('--endpoint <ENDPOINT>', 'where the hypervisor listens (ipc://… or tcp://…)')
  .option('--keys <DIR>', 'of the secret keys (`remio keys`): lets in only who has one, and encrypts')
  .option('--plaintext', 'let the endpoint be one that other hosts reach, unprotected as it is', false)
  .option('--record <FILE>', 'write every input of the core, and its effects, as a vector')
  .option('--processes <N>', 'processes of each kind that VMs of no host are dealt out over', whole)
  .option('--metrics <HOST:PORT>', 'serve metrics and health: the hypervisor here, the others at the ports that follow')
  .option('--until-done', 'stop when every frontend’s program has ended', false)
  .option('--json', 'one JSON object per line', false)
  .addHelpText('after', '\nExample:\n  remio up deploy/topologies/ping-riscv64.yaml --image disk.img --until-done')
  .action(async (file: string, options: UpOptions) => {
    const { up } = await import('./command-up.js');
    code = await up(file, options);
  });

program
  .command('generate')
  .description('print a topology of many VMs')
  .addHelpText(
    'after',
    '\nExample:\n  remio generate star --frontends 995 > star.yaml && remio up star.yaml --until-done',
  )
  .command('star')
  .description('frontends with one entropy device each, and the backends that serve them')
  .requiredOption('--frontends <N>', 'how many', whole)
  .addOption(new Option('--arch <ARCH>', 'of a synthetic board').choices(['aarch64', 'riscv64']).default('aarch64'))
  .option('--vcpus <N>', 'vCPUs of each frontend', whole, 1)
  .option('--per-backend <N>', 'devices that one backend serves', whole, 200)
  .addOption(
    new Option('--work <WORK>', 'read random bytes, read a register again and again, or nothing')
      .choices(words<typeof STAR_WORK>('rng', 'ping', 'idle'))
      .default('rng'),
  )
  .option('--amount <N>', 'bytes, or register reads, of each frontend', whole, 4096)
  .action(async (options: GenerateStarOptions) => {
    const { generateStar } = await import('./command-generate.js');
    generateStar(options);
  });

program
  .command('demo')
  .description('both architectures: boot, read a whole disk, write, read back, show every hop’s latency')
  .addArgument(new Argument('[WHAT]', '`devices`: every device family at work').choices(['devices']))
  .option('--disk <FILE>', 'disk image to read; it is copied, never written')
  .option('--json', 'one JSON object per topology', false)
  .addHelpText('after', '\nExamples:\n  remio demo --disk disk.img\n  remio demo devices')
  .action(async (what: 'devices' | undefined, options: DemoOptions) => {
    if (what === 'devices') code = await (await import('./command-demo-devices.js')).demoDevices(options);
    else code = await (await import('./command-demo.js')).demo(options);
  });

program
  .command('check <FILE>')
  .description('check a topology: what is wrong, where, and how to mend it')
  .addOption(imageOption())
  .addOption(
    new Option('--format <FORMAT>', 'for people, programs, code scanning, or a GitHub workflow')
      .choices(words<typeof CHECK_FORMATS>('text', 'json', 'sarif', 'github'))
      .default('text'),
  )
  .option('--fix', 'change the file where there is one way to mend it', false)
  .option('--json', 'the same as --format json', false)
  .addHelpText(
    'after',
    '\nExamples:\n  remio check deploy/topologies/demo-aarch64.yaml --image disk.img\n  remio check my-topology.yaml --fix',
  )
  .action(async (file: string, options: CheckOptions) => {
    const { check } = await import('./command-check.js');
    code = check(file, options);
  });

program
  .command('explain')
  .description('the rules of the check; of one, why it is there and an example')
  .argument('[RULE]', 'id of the rule')
  .option('--json', 'as JSON', false)
  .addHelpText('after', '\nExamples:\n  remio explain\n  remio explain windows-touch')
  .action(async (rule: string | undefined, options: { readonly json: boolean }) => {
    const { explain } = await import('./command-explain.js');
    explain(rule, options.json);
  });

program
  .command('boards')
  .description('show what every board has, or one board with its memory map')
  .argument('[NAME]', 'the board, or the path of a board file')
  .option('--markdown', 'as a table of docs/boards.md', false)
  .option('--json', 'as JSON', false)
  .addHelpText('after', '\nExamples:\n  remio boards\n  remio boards zcu104')
  .action(async (name: string | undefined, options: BoardsOptions) => {
    const { boards } = await import('./command-boards.js');
    boards(name, options);
  });

program
  .command('graph <FILE>')
  .description('draw a topology: VMs, CPUs, devices, shared memories and interrupts')
  .option('-o, --output <FILE>', 'write there instead of to standard output')
  .addOption(
    new Option('--format <FORMAT>', 'a picture, or text that Markdown draws')
      .choices(['svg', 'mermaid'])
      .default('svg'),
  )
  .option('--mermaid', 'the same as --format mermaid', false)
  .addHelpText('after', '\nExample:\n  remio graph examples/partitions-aarch64.yaml -o partitions.svg')
  .action(async (file: string, options: GraphOptions) => {
    const { graph } = await import('./command-graph.js');
    code = await graph(file, options);
  });

program
  .command('deploy')
  .description('files with which an engine of containers runs a topology')
  .addHelpText(
    'after',
    '\nExamples:\n  remio deploy render compose deploy/topologies/compose.yaml --output deploy\n  remio deploy render swarm deploy/topologies/compose.yaml --output deploy/swarm',
  )
  .command('render')
  .description('write them')
  .addArgument(
    new Argument('<ENGINE>', 'what they are for').choices(words<typeof ENGINES>('compose', 'swarm', 'kubernetes')),
  )
  .argument('<FILE>', 'the topology')
  .option('-o, --output <DIRECTORY>', 'write there', '.')
  .addOption(imageOption())
  .option('--keys <DIR>', 'of the secret keys (`remio keys`): each service gets its own, as secrets')
  .option('--disk-size <BYTES>', 'of disks that have no image: they are made, empty, in a volume', whole, 4 * 2 ** 20)
  .option('--json', 'what was written, as JSON', false)
  .action(async (engine: (typeof ENGINES)[number], file: string, options: RenderOptions) => {
    const { renderDeployment } = await import('./command-deploy.js');
    code = renderDeployment(engine, file, options);
  });

program
  .command('digest <FILE>')
  .description('print the digest that every peer of a running topology must have')
  .addOption(imageOption())
  .addHelpText('after', '\nExample:\n  remio digest deploy/topologies/demo-aarch64.yaml --image disk.img')
  .action(async (file: string, options: { readonly image: readonly string[] }) => {
    const { topologyOf } = await import('./topology-file.js');
    console.log(topologyOf(file, options.image).digest);
  });

program
  .command('keys <FILE>')
  .description('make keys for the hypervisor, for each VM and for who watches: who may talk, between hosts')
  .requiredOption('-o, --output <DIR>', 'directory for the secret keys; it is made where there is none')
  .option('--write', 'put the public keys into the topology, instead of printing them', false)
  .option('--add', 'keep the secret keys that are there, and make those that are missing', false)
  .option('--force', 'replace the secret keys that are there', false)
  .option('--json', 'what was made, as JSON', false)
  .addHelpText('after', '\nExample:\n  remio keys my-topology.yaml -o keys --write')
  .action(async (file: string, options: KeysOptions) => {
    const { keys } = await import('./command-keys.js');
    code = keys(file, options);
  });

program
  .command('export <FORMAT> <FILE>')
  .description('write a topology for a board: Bao’s configuration, device trees, device models (FORMAT is bao)')
  .requiredOption('-o, --output <DIR>', 'directory for the files; it is made where there is none')
  .option('--wide', 'for a Bao with wider messages and CPU maps: its limits are warnings', false)
  .option('--force', 'overwrite files that no export made', false)
  .option('--json', 'what was written, as JSON', false)
  .addHelpText('after', '\nExample:\n  remio export bao deploy/topologies/demo-aarch64.yaml -o bao-demo')
  .action(async (format: string, file: string, options: ExportOptions) => {
    if (format !== 'bao') throw new CommandError(`there is no export to ${format}; write bao`, EXIT.USAGE);
    const { exportTopology } = await import('./command-export.js');
    code = exportTopology(file, options);
  });

program
  .command('import <FORMAT> <FILES...>')
  .description(
    'write the topology that a configuration of Bao, or device trees of its VMs, describe (FORMAT: bao, dts)',
  )
  .option('-o, --output <FILE>', 'where to write the topology; else standard output')
  .option('--board <NAME>', 'the board, where the files do not say')
  .option('--device-model <FILE>', 'a configuration of bao-virtio-dm; any number of times', collect, [])
  .option(
    '--sidecar <FILE>',
    'what an export wrote beside the configuration; else remio.yaml beside the first file',
    true,
  )
  .option('--no-sidecar', 'read the configuration alone')
  .option('--json', 'what was assumed or not carried, one JSON object per line', false)
  .addHelpText(
    'after',
    '\nExamples:\n  remio import bao bao-demo/config.c -o topology.yaml\n  remio import dts bao-demo/*.dts -o topology.yaml',
  )
  .action(async (format: string, files: readonly string[], options: ImportOptions) => {
    const { importFromBao, importFromTrees } = await import('./command-import.js');
    if (format === 'bao') code = await importFromBao(files, options);
    else if (format === 'dts') code = importFromTrees(files, options);
    else throw new CommandError(`there is no import of ${format}; write bao or dts`, EXIT.USAGE);
  });

program
  .command('conform <FILES...>')
  .description('run conformance vectors through the core')
  .addOption(
    new Option('--profile <PROFILE>', 'behaviour of the core').choices(['reference', 'hardened']).default('reference'),
  )
  .option('--lease', 'send requests ahead to the backend’s runtime, through the wire’s codec', false)
  .option('--no-abi', 'call the core directly, not through encoders and decoders')
  .option('--json', 'one JSON object per file', false)
  .addHelpText('after', '\nExample:\n  remio conform test/vectors/remio/*.json --profile hardened --lease')
  .action(async (files: readonly string[], options: ConformOptions) => {
    const { conform } = await import('./command-conform.js');
    code = await conform(files, options);
  });

program
  .command('replay <FILE>')
  .description('run a recording of `up --record` again, and compare the effects')
  .option('--json', 'the result as JSON', false)
  .addHelpText('after', '\nExample:\n  remio replay recording.json')
  .action(async (file: string, options: { readonly json: boolean }) => {
    const { replayFile } = await import('./command-replay.js');
    code = await replayFile(file, options.json);
  });

program
  .command('ring <VM> <DEVICE> <QUEUE>')
  .description('show a virtqueue of a running platform, decoded')
  .requiredOption('--endpoint <ENDPOINT>', 'where the hypervisor listens: `remio up` prints it')
  .option('--keys <DIR>', 'with observer.key_secret and hypervisor.key, where the hypervisor has keys')
  .option('--json', 'the queue as JSON', false)
  .addHelpText('after', '\nExample:\n  remio ring guest0 disk0 0 --endpoint ipc:///dev/shm/remio-…/hypervisor.sock')
  .action(async (vm: string, device: string, queue: string, options: RingOptions) => {
    const { ring } = await import('./command-ring.js');
    code = await ring(vm, device, Number(queue), options);
  });

program
  .command('hostile <FILE>')
  .description('try hostile drivers on a topology’s devices, and lying devices on its drivers')
  .addOption(imageOption())
  .addOption(
    new Option('--catalogue <WHICH>', 'a: what drivers may try; b: what devices may; both, if absent').choices([
      'a',
      'b',
    ]),
  )
  .option('--device <NAME>', 'this device alone: VM/DEVICE, or DEVICE')
  .addOption(
    new Option('--case <ID>', 'this case alone, such as A5 or V8; may be repeated').argParser(collect).default([]),
  )
  .option('--bound <SECONDS>', 'after so long, whoever has not come to an end hangs', whole, 20)
  .option('--json', 'one JSON object per line', false)
  .addHelpText(
    'after',
    `
Examples:
  remio hostile my-topology.yaml                           every device and driver, every case
  remio hostile my-topology.yaml --catalogue a --device disk0
  remio hostile my-topology.yaml --catalogue b --case V8 --case V21
  remio hostile my-topology.yaml --json

Disk images are copied first. docs/hostile.md tells what the cases and verdicts are.`,
  )
  .action(async (file: string, options: HostileOptions) => {
    const { hostile } = await import('./command-hostile.js');
    code = await hostile(file, options);
  });

program
  .command('bench <WHAT>')
  .description(`measure against a floor in the same run: ${BENCHES.map(({ name }) => name).join(', ')}`)
  .option('--quick', 'fewer runs', false)
  .option('--json', 'the figures as JSON', false)
  .addHelpText(
    'after',
    `\n${BENCHES.map(({ name, description }) => `  ${name.padEnd(11)} ${description}`).join('\n')}\n\nExample:\n  remio bench mmio`,
  )
  .action(async (what: string, options: BenchOptions) => {
    const { bench } = await import('./bench/index.js');
    code = await bench(what, options);
  });

experimentCommands(program, (ended) => {
  code = ended;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommandError) {
    console.error(error.message);
    code = error.exitCode;
  } else if (error instanceof CommanderError) {
    // Commander has said it already. Help and version are no mistake.
    code = error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
  } else throw error;
}
process.exit(code);
