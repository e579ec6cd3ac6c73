import { request } from 'node:http'

/** True where a Docker engine answers; suites that need one are skipped elsewhere, which the test runner says loudly. */
export function dockerAnswers(): Promise<boolean> {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  const where = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: Number(new URL(host).port) }
  return new Promise((resolve) => {
    const call = request({ ...where, path: '/_ping', timeout: 2_000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    call.on('error', () => resolve(false))
    call.on('timeout', () => call.destroy())
    call.end()
  })
}

/** `describe` where an engine answers, else `describe.skip`. Use with top-level await. */
export async function describeWithDocker(): Promise<jest.Describe> {
  return (await dockerAnswers()) ? describe : describe.skip
}
