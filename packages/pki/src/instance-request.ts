import { generateKeyPair, sign } from 'node:crypto'
import { promisify } from 'node:util'

const [INTEGER, BIT_STRING, OID, UTF8, SEQUENCE, SET, ATTRIBUTES] = [0x02, 0x03, 0x06, 0x0c, 0x30, 0x31, 0xa0]
const COMMON_NAME = Buffer.from([0x55, 0x04, 0x03])
const ECDSA_WITH_SHA256 = Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])

/**
 * A key for an instance (ECDSA P-256; SEC 1, since Java's buildpack reads no PKCS#8), and the request for its certificate (PKCS#10), which
 * says nothing but the name: all else is the issuer's to decide. Made without the library that reads certificates: a cell makes one for each start and need not carry that.
 */
export async function createInstanceKeyAndCsr(instanceGuid: string): Promise<{ privateKeyPem: string; csrPem: string }> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const info = der(
    SEQUENCE,
    der(INTEGER, Buffer.from([0])),
    der(SEQUENCE, der(SET, der(SEQUENCE, der(OID, COMMON_NAME), der(UTF8, Buffer.from(instanceGuid))))),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(ATTRIBUTES),
  )
  const signature = der(BIT_STRING, Buffer.from([0]), sign('sha256', info, privateKey))
  const request = der(SEQUENCE, info, der(SEQUENCE, der(OID, ECDSA_WITH_SHA256)), signature)
  const lines = request.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return {
    privateKeyPem: privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
    csrPem: `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`,
  }
}

/** A value with its tag and length. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), content])
}
