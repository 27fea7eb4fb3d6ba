import { type TopologyFile, topologySchema } from './schema.js';
import { YamlSource } from './yaml-source.js';

export { type Path, showPath } from './path.js';

/** A topology file, read and of the right shape, with where everything stands. */
export class TopologySource extends YamlSource<TopologyFile> {
  constructor(text: string, file: string) {
    super(text, file, topologySchema);
  }
}
