/** One request as the router timed it, as Cloud Foundry's router tells it in a timer of name `http`. */
export interface RequestTimer {
  /** Nanoseconds since the epoch. */
  readonly start: bigint
  readonly stop: bigint
  /** Index of the instance that answered; empty where none did. */
  readonly instanceId: string
  readonly tags: Readonly<Record<string, string>>
}

const QUOTED = String.raw`"((?:[^"\\]|\\.)*)"`
const ACCESS_LINE = new RegExp(
  String.raw`^(\S+) - \[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z\] ${QUOTED} ("-"|\d{3}) \d+ (\d+) ${QUOTED} ${QUOTED} ${QUOTED} ${QUOTED} ` +
    String.raw`x_forwarded_for:${QUOTED} x_forwarded_proto:${QUOTED} vcap_request_id:${QUOTED} response_time:(\d+)\.(\d{6}) .*` +
    String.raw`app_index:"(\d+|-)" instance_id:${QUOTED}`,
)

/** Reads the router's access line, which says all that a timer does; undefined for a line that was cut off or is another. */
export function parseRequestTimer(line: string): RequestTimer | undefined {
  const found = ACCESS_LINE.exec(line)
  if (!found) return undefined
  const [, host = '', second = '', nanos = '', request = '', status = '', bytes = '', , userAgent = '', client = ''] = found
  const [forwardedFor = '', forwardedProto = '', requestId = '', seconds = '', micros = '', index = '', instance = ''] =
    found.slice(11)
  const [method = '', target = ''] = request.split(' ')
  const start = BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(nanos)
  return {
    start,
    stop: start + BigInt(seconds) * 1_000_000_000n + BigInt(micros) * 1000n,
    instanceId: known(index),
    tags: {
      content_length: bytes,
      forwarded: known(forwardedFor).split(/, */).join('\n'),
      method,
      peer_type: 'Server',
      remote_address: known(client),
      request_id: known(requestId),
      routing_instance_id: known(instance),
      status_code: status === '"-"' ? '0' : status,
      uri: `${known(forwardedProto) === 'https' ? 'https' : 'http'}://${host}${target.split('?')[0] ?? ''}`,
      user_agent: known(userAgent),
    },
  }
}

const known = (text: string): string => (text === '-' ? '' : text.replace(/\\(["\\])/g, '$1'))
