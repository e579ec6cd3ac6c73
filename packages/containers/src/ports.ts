import { createServer } from 'node:net'

/** Whether a port can be listened on right now; true where the address is not one of this machine's and it cannot be tried. */
export function isPortFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRNOTAVAIL'))
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
