import { writeFile } from 'node:fs/promises'
import { isRoot, run, works } from '../run.js'
import type { Names } from './names.js'

/** Where the platform's own public ports listen; containers may reach these of the machine, and nothing else. */
export interface PublicPorts {
  readonly bind: string
  readonly ports: readonly number[]
  /** For TCP routes; at `tcpBind` where that is not `bind`. */
  readonly tcp?: { readonly bind: string; readonly ranges: readonly { readonly first: number; readonly last: number }[] }
}

/** Of this machine alone: from inside containers it takes a detour. */
const isLoopback = (bind: string): boolean => bind === '127.0.0.1' || bind === 'localhost'

/** Addresses at which clouds serve credentials and settings of the machine. */
const METADATA = ['169.254.0.0/16', '100.100.100.200/32', '192.0.0.192/32']

export async function findFirewall(): Promise<{ available: boolean; remark?: string }> {
  if (!isRoot())
    return {
      available: false,
      remark: "the machine's private listeners are open to containers: only root can set firewall rules",
    }
  if (await works('iptables', ['-w', '5', '-S', 'INPUT'])) return { available: true }
  return {
    available: false,
    remark: "the machine's private listeners are open to containers: iptables is missing or does not work",
  }
}

/** Sets the rules of this installation; each table is replaced in one step, so there is no moment without them. */
export async function applyFirewall(names: Names, gateway: string, platform: PublicPorts): Promise<void> {
  const { bridge, chainPrefix, installation } = names
  const tag = `-m comment --comment "bloomery:${installation}"`
  const input = `${chainPrefix}-I`
  const forward = `${chainPrefix}-F`
  const nat = `${chainPrefix}-N`
  const reject = (chain: string, match: string) => [
    `-A ${chain} ${match} -p tcp ${tag} -j REJECT --reject-with tcp-reset`,
    `-A ${chain} ${match} ${tag} -j REJECT --reject-with icmp-port-unreachable`,
  ]
  const open = [
    ...platform.ports.map((port) => ({ ports: String(port), bind: platform.bind })),
    ...(platform.tcp?.ranges ?? []).map(({ first, last }) => ({ ports: `${first}:${last}`, bind: platform.tcp?.bind ?? '' })),
  ]
  const loopback = open.filter(({ bind }) => isLoopback(bind))
  // What is in it is the service broker's to say (service-network.ts); here it is only made sure that it is heard.
  const services = servicesChain(names)
  await works('iptables', ['-w', '5', '-N', services])
  const rules = [
    '*filter',
    `:${input} - [0:0]`,
    `:${forward} - [0:0]`,
    `-A ${input} -m conntrack --ctstate RELATED,ESTABLISHED ${tag} -j ACCEPT`,
    ...open.map(({ ports }) => `-A ${input} -p tcp --dport ${ports} ${tag} -j ACCEPT`),
    `-A ${input} ${tag} -j ${services}`,
    ...reject(input, ''),
    ...METADATA.flatMap((address) => reject(forward, `-d ${address}`)),
    'COMMIT',
    '*nat',
    `:${nat} - [0:0]`,
    // The router listens on loopback only: from inside it is reached at the gateway's address.
    ...loopback.map(({ ports }) => `-A ${nat} -d ${gateway} -p tcp --dport ${ports} ${tag} -j DNAT --to-destination 127.0.0.1`),
    'COMMIT',
    '',
  ].join('\n')
  await run('iptables-restore', ['-w', '5', '--noflush'], rules)
  if (loopback.length > 0) await setKernel(`net/ipv4/conf/${bridge}/route_localnet`, '1')
  const userChain = (await works('iptables', ['-w', '5', '-S', 'DOCKER-USER'])) ? 'DOCKER-USER' : 'FORWARD'
  for (const jump of jumps(names, userChain)) {
    const [table, chain, ...rule] = jump
    const listed = await works('iptables', ['-w', '5', '-t', table, '-C', chain, ...rule])
    if (!listed) await run('iptables', ['-w', '5', '-t', table, '-I', chain, '1', ...rule])
  }
}

/** For an agent that is in a container itself /proc/sys is read-only; docker-compose.yml mounts the machine's own at /host/proc. */
async function setKernel(name: string, value: string): Promise<void> {
  try {
    await writeFile(`/proc/sys/${name}`, value)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw error
    await writeFile(`/host/proc/sys/${name}`, value)
  }
}

/** Holds the openings to service servers; no refresh of the other chains touches it. */
export const servicesChain = ({ chainPrefix }: Names): string => `${chainPrefix}-S`

/** Takes away what `applyFirewall` set, and the openings to service servers. */
export async function removeFirewall(names: Names): Promise<void> {
  const services = servicesChain(names)
  const listed = await run('iptables', ['-w', '5', '-S', 'INPUT']).catch(() => '')
  for (const line of listed.split('\n').filter((each) => each.endsWith(`-j ${services}`)))
    await works('sh', ['-c', `iptables -w 5 -D ${line.slice('-A '.length)}`])
  for (const userChain of ['DOCKER-USER', 'FORWARD'])
    for (const [table, chain, ...rule] of jumps(names, userChain))
      await works('iptables', ['-w', '5', '-t', table, '-D', chain, ...rule])
  for (const [table, chain] of [
    ['filter', `${names.chainPrefix}-I`],
    ['filter', `${names.chainPrefix}-F`],
    ['filter', services],
    ['nat', `${names.chainPrefix}-N`],
  ] as const) {
    await works('iptables', ['-w', '5', '-t', table, '-F', chain])
    await works('iptables', ['-w', '5', '-t', table, '-X', chain])
  }
}

const jumps = ({ bridge, chainPrefix, installation }: Names, userChain: string): [string, string, ...string[]][] => {
  const rule = (target: string) => ['-i', bridge, '-m', 'comment', '--comment', `bloomery:${installation}`, '-j', target]
  return [
    ['filter', 'INPUT', ...rule(`${chainPrefix}-I`)],
    ['filter', userChain, ...rule(`${chainPrefix}-F`)],
    ['nat', 'PREROUTING', ...rule(`${chainPrefix}-N`)],
  ]
}
