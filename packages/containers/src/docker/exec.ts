import { PassThrough } from 'node:stream'
import type Docker from 'dockerode'

const MOST_OUTPUT_BYTES = 4 * 1024 * 1024

/** Runs a command inside a running container; output is cut after 4 MiB. */
export async function runInContainer(
  docker: Docker,
  container: Docker.Container,
  command: readonly string[],
  options: { user?: 'vcap' | 'root'; environment?: Record<string, string> } = {},
): Promise<{ exitCode: number; output: string }> {
  const exec = await container.exec({
    Cmd: [...command],
    AttachStdout: true,
    AttachStderr: true,
    User: options.user === 'root' ? '0:0' : '2000:2000',
    Env: Object.entries(options.environment ?? {}).map(([name, value]) => `${name}=${value}`),
  })
  const stream = await exec.start({ hijack: true, stdin: false })
  const collected = new PassThrough()
  const parts: Buffer[] = []
  let size = 0
  collected.on('data', (part: Buffer) => {
    if (size < MOST_OUTPUT_BYTES) parts.push(part)
    size += part.length
  })
  docker.modem.demuxStream(stream, collected, collected)
  await new Promise<void>((resolve, reject) => {
    stream.on('end', resolve)
    stream.on('close', resolve)
    stream.on('error', reject)
  })
  const { ExitCode } = await exec.inspect()
  return { exitCode: ExitCode ?? -1, output: Buffer.concat(parts).toString('utf8').slice(0, MOST_OUTPUT_BYTES) }
}
