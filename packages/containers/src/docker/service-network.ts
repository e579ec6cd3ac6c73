import { isRoot, run, works } from '../run.js'
import { connect } from './connection.js'
import { findFirewall, servicesChain } from './firewall.js'
import { type Names, namesOf } from './names.js'
import { ensureNetwork } from './network.js'

/** The way from this installation's containers to servers that run on the machine itself, beside the engine. */
export interface ContainersToMachine {
  /** The machine's address on the containers' network, there from now on. */
  readonly gateway: string
  /**
   * Lets containers reach exactly these TCP ports of that address, and nobody from another network. Replaces what was open before;
   * stays over refreshes of the firewall by other roles.
   */
  open(ports: readonly number[]): Promise<void>
}

/** Finds or makes the network. Throws EngineError where the engine does not answer. */
export async function containersToMachine(options: {
  readonly installationId: string
  /** As DOCKER_HOST. */
  readonly host?: string | undefined
}): Promise<ContainersToMachine> {
  const names = namesOf(options.installationId)
  const { gateway } = await ensureNetwork(connect(options.host).calls, names)
  return { gateway, open: (ports) => openPorts(names, gateway, ports) }
}

async function openPorts(names: Names, gateway: string, ports: readonly number[]): Promise<void> {
  // Without a firewall of ours nothing is closed.
  if (!isRoot() || !(await findFirewall()).available) return
  const { bridge, installation } = names
  const chain = servicesChain(names)
  const tag = `-m comment --comment "bloomery:${installation}"`
  const each = (target: string, match = '') =>
    ports.map((port) => `-A ${chain} ${match} -d ${gateway} -p tcp --dport ${port} ${tag} -j ${target}`)
  const rules = [
    '*filter',
    `:${chain} - [0:0]`,
    ...each('ACCEPT', `-i ${bridge}`),
    // The machine answers on this address to whoever routes here; these ports are for containers of this network, and for itself.
    ...each('REJECT --reject-with tcp-reset', '! -i lo'),
    'COMMIT',
    '',
  ]
  await run('iptables-restore', ['-w', '5', '--noflush'], rules.join('\n'))
  const jump = ['-m', 'comment', '--comment', `bloomery:${installation}`, '-j', chain]
  const guarded = ['-d', `${gateway}/32`, '-p', 'tcp', ...jump]
  // First in INPUT: before the rules that close the machine to containers, and before any that would let others in.
  if (!(await works('iptables', ['-w', '5', '-C', 'INPUT', ...guarded])))
    await run('iptables', ['-w', '5', '-I', 'INPUT', '1', ...guarded])
}
