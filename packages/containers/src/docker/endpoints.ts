import { randomInt } from 'node:crypto'
import { EngineError, type ReservedEndpoint, type SeenContainer } from '../engine.js'
import { isPortFree } from '../ports.js'
import { RoundRobin, type Subnet, toAddress, toNumber } from './subnet.js'

/** Above the range from which Linux takes ports for outgoing connections; Diego's choice too. */
const FIRST_PORT = 61_001
const LAST_PORT = 65_535
/** A reservation that nobody made a container from is given up after this. */
const RESERVED_MS = 60_000

/** Gives out addresses and published ports, each again as late as can be. */
export class Endpoints {
  private readonly addresses: RoundRobin
  private readonly ports = new RoundRobin(FIRST_PORT, LAST_PORT, randomInt(LAST_PORT - FIRST_PORT))
  private readonly reserved = new Map<number, number>()

  constructor(
    subnet: Subnet,
    private readonly hostAddress: string,
  ) {
    this.addresses = new RoundRobin(subnet.firstOfOurs, subnet.lastOfOurs, randomInt(subnet.lastOfOurs - subnet.firstOfOurs))
  }

  async reserve(
    ports: readonly number[],
    avoid: readonly string[],
    present: readonly Pick<SeenContainer, 'address' | 'publishedPorts'>[],
  ): Promise<ReservedEndpoint> {
    const now = Date.now()
    for (const [value, until] of this.reserved) if (until < now) this.reserved.delete(value)
    const avoided = new Set(avoid.map(toNumber))
    for (const { address } of present) if (address !== undefined) avoided.add(toNumber(address))
    const address = this.addresses.next((value) => avoided.has(value) || this.reserved.has(value))
    if (address === undefined)
      throw new EngineError('no-space', 'All addresses of this cell are in use or held back for withdrawn instances')
    this.reserved.set(address, now + RESERVED_MS)
    const used = new Set(present.flatMap(({ publishedPorts }) => Object.values(publishedPorts)))
    const chosen = []
    for (const internal of ports) chosen.push({ internal, external: await this.port(used) })
    return { address: toAddress(address), ports: chosen }
  }

  private async port(used: ReadonlySet<number>): Promise<number> {
    for (;;) {
      const port = this.ports.next((value) => used.has(value) || this.reserved.has(value))
      if (port === undefined)
        throw new EngineError('no-space', `All ports from ${FIRST_PORT} to ${LAST_PORT} are in use on this cell`)
      this.reserved.set(port, Date.now() + RESERVED_MS)
      if (await isPortFree(this.hostAddress, port)) return port
    }
  }
}
