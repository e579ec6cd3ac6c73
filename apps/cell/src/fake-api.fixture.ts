import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { InstanceCertificateRequest, type NodeIdentity } from '@bloomery/contracts'
import { issueInstanceCertificate, serverTlsOptions, type CertificateAuthority } from '@bloomery/pki'

/** Of the api only what issues certificates of instances, to whichever cell asks. */
export class FakeApi {
  /** How long those that it issues are good from now on; a short-lived one is due for renewal at once. */
  minutes = 24 * 60
  private readonly server: Server

  constructor(
    identity: NodeIdentity,
    readonly instances: CertificateAuthority,
  ) {
    this.server = createServer(serverTlsOptions(identity), (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.issue(Buffer.concat(chunks).toString()).then(
          (answer) => response.end(JSON.stringify(answer)),
          (error: unknown) => response.writeHead(422).end(JSON.stringify({ errors: [{ detail: String(error) }] })),
        )
      })
    })
  }

  get url(): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  open(): Promise<void> {
    return new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve))
  }

  close(): Promise<void> {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  private async issue(body: string) {
    const { instanceGuid, csrPem, address } = InstanceCertificateRequest.parse(JSON.parse(body))
    const certificatePem = await issueInstanceCertificate(this.instances, csrPem, {
      instanceGuid,
      units: ['organization:o', 'space:s', 'app:a'],
      addresses: address === undefined ? [] : [address],
      days: this.minutes / (24 * 60),
    })
    return { certificatePem, authorityPem: this.instances.certificatePem }
  }
}
