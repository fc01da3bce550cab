/**
 * A machine that pairs by another implementation of Noise: noise-c, compiled to WebAssembly, over a
 * real UDP socket. What is around Noise (headers, numbers of messages) is written here a second time
 * from docs/protocol.md, and shares nothing with lib/.
 *
 * @module
 */

import createNoise from "noise-c.wasm";

/** What is used of noise-c; the package has no types. */
interface NoiseC {
  constants: { NOISE_ROLE_INITIATOR: number; NOISE_ROLE_RESPONDER: number };
  HandshakeState: new (protocolName: string, role: number) => NoiseCHandshake;
}
interface NoiseCHandshake {
  Initialize(prologue: Uint8Array | null, s: Uint8Array, rs: null, psk: null): void;
  WriteMessage(payload: Uint8Array | null): Uint8Array;
  ReadMessage(message: Uint8Array, isPayloadNeeded: boolean): Uint8Array;
  GetRemotePublicKey(): Uint8Array;
  Split(): [send: NoiseCCipher, receive: NoiseCCipher];
}
interface NoiseCCipher {
  EncryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  DecryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
}

const XX = "Noise_XX_25519_ChaChaPoly_SHA256";
const INTEROP = 4;
const OWN_INDEX = 0x0badcafe;

/** What a machine says when it pairs, as JSON. */
export type Said = Readonly<Record<string, unknown>>;

/** The other machine. */
export class NoiseCPeer {
  readonly #socket: Deno.DatagramConn;
  readonly #start: () => NoiseCHandshake;
  #handshake: NoiseCHandshake;
  /** The initiation that was answered last, and the answer. */
  #answered: { readonly request: string; readonly noise: Uint8Array } | undefined;
  #send: NoiseCCipher | undefined;
  #receive: NoiseCCipher | undefined;
  #remoteIndex = 0;
  #counter = 0;
  #theirLast = 0;
  #underWay: { number: number; body: string } | undefined;
  #number = 0;
  readonly #waiting: string[] = [];
  readonly #heard = new Map<string, PromiseWithResolvers<Said>>();
  #to: Deno.NetAddr | undefined;
  /** Counters of what came, in the order in which it came. */
  readonly counters: number[] = [];

  private constructor(socket: Deno.DatagramConn, start: () => NoiseCHandshake) {
    this.#socket = socket;
    this.#start = start;
    this.#handshake = start();
  }

  /**
   * Opens a socket on loopback.
   *
   * @param prologue `null` for the empty one of `pair-interop`.
   * @param dial Port to dial; `undefined`: listen.
   */
  static async open(
    privateKey: Uint8Array,
    dial: number | undefined,
    prologue: Uint8Array | null = null,
  ): Promise<NoiseCPeer> {
    const noise = await new Promise<NoiseC>((resolve) => createNoise(resolve));
    const { NOISE_ROLE_INITIATOR, NOISE_ROLE_RESPONDER } = noise.constants;
    const role = dial === undefined ? NOISE_ROLE_RESPONDER : NOISE_ROLE_INITIATOR;
    const start = () => {
      const handshake = new noise.HandshakeState(XX, role);
      handshake.Initialize(prologue, privateKey, null, null);
      return handshake;
    };
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    const peer = new NoiseCPeer(socket, start);
    void peer.#run();
    if (dial !== undefined) {
      peer.#to = { transport: "udp", hostname: "127.0.0.1", port: dial };
      await peer.#out(1, [OWN_INDEX], peer.#handshake.WriteMessage(null));
    }
    return peer;
  }

  /** Its UDP port. */
  get port(): number {
    return (this.#socket.addr as Deno.NetAddr).port;
  }

  /** The static key that noise-c has of the other machine. */
  remoteKey: Uint8Array | undefined;

  /** Says something, when what was said before has arrived. */
  async say(message: Said): Promise<void> {
    this.#waiting.push(JSON.stringify(message));
    await this.#next();
  }

  /** Waits for a message of a kind. */
  hears(kind: string): Promise<Said> {
    return this.#of(kind).promise;
  }

  /** Closes the socket. */
  close(): void {
    this.#socket.close();
  }

  async #run(): Promise<void> {
    for await (const [datagram, from] of this.#socket) {
      this.#to = from as Deno.NetAddr;
      // What makes no sense to noise-c is dropped.
      await this.#take(datagram).catch(() => {});
    }
  }

  async #take(datagram: Uint8Array): Promise<void> {
    const view = new DataView(datagram.buffer, datagram.byteOffset);
    switch (datagram[0]) {
      case 1:
        this.#remoteIndex = view.getUint32(4, true);
        await this.#out(2, [OWN_INDEX, this.#remoteIndex], this.#answer(datagram));
        break;
      case 2:
        this.#remoteIndex = view.getUint32(4, true);
        this.#handshake.ReadMessage(datagram.subarray(12), true);
        await this.#out(3, [OWN_INDEX, this.#remoteIndex], this.#handshake.WriteMessage(null));
        this.#split();
        break;
      case 3:
        this.#handshake.ReadMessage(datagram.subarray(12), true);
        this.#split();
        await this.#seal(new Uint8Array(0));
        break;
      case 5:
        await this.#open(datagram, view.getUint32(8, true));
        break;
    }
  }

  /** The same answer to a copy; a fresh initiation starts afresh. */
  #answer(initiation: Uint8Array): Uint8Array {
    const request = initiation.join();
    if (this.#answered?.request !== request) {
      this.#handshake = this.#start();
      this.#handshake.ReadMessage(initiation.subarray(8), true);
      this.#answered = { request, noise: Uint8Array.from(this.#handshake.WriteMessage(null)) };
    }
    return this.#answered.noise;
  }

  #split(): void {
    this.remoteKey = Uint8Array.from(this.#handshake.GetRemotePublicKey());
    [this.#send, this.#receive] = this.#handshake.Split();
  }

  async #open(datagram: Uint8Array, counter: number): Promise<void> {
    this.counters.push(counter);
    const header = datagram.subarray(0, 16);
    const text = this.#receive!.DecryptWithAd(header, datagram.subarray(16));
    if (text.length === 0) return await this.#next();
    const view = new DataView(text.buffer, text.byteOffset);
    if (this.#underWay?.number === view.getUint32(6, true)) this.#underWay = undefined;
    const number = view.getUint32(2, true);
    if (text.length > 10) {
      if (number === this.#theirLast + 1) {
        this.#theirLast = number;
        const said = JSON.parse(new TextDecoder().decode(text.slice(10))) as Said;
        this.#of(String(said["kind"])).resolve(said);
      }
      await this.#write(0, "");
    }
    await this.#next();
  }

  async #next(): Promise<void> {
    if (this.#send === undefined || this.#underWay !== undefined) return;
    const body = this.#waiting.shift();
    if (body === undefined) return;
    this.#underWay = { number: ++this.#number, body };
    await this.#write(this.#number, body);
  }

  async #write(number: number, body: string): Promise<void> {
    const bytes = new TextEncoder().encode(body);
    const text = new Uint8Array(10 + bytes.length);
    text[1] = 16;
    const view = new DataView(text.buffer);
    view.setUint32(2, number, true);
    view.setUint32(6, this.#theirLast, true);
    text.set(bytes, 10);
    await this.#seal(text);
  }

  async #seal(text: Uint8Array): Promise<void> {
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    header[0] = 5;
    view.setUint32(4, this.#remoteIndex, true);
    view.setUint32(8, this.#counter++, true);
    const sealed = this.#send!.EncryptWithAd(header, text);
    await this.#socket.send(Uint8Array.of(...header, ...sealed), this.#to!);
  }

  async #out(type: number, indices: readonly number[], noise: Uint8Array): Promise<void> {
    const datagram = new Uint8Array(4 + 4 * indices.length + noise.length);
    datagram.set([type, 1, INTEROP, 0]);
    const view = new DataView(datagram.buffer);
    indices.forEach((index, i) => view.setUint32(4 + 4 * i, index, true));
    datagram.set(noise, 4 + 4 * indices.length);
    await this.#socket.send(datagram, this.#to!);
  }

  #of(kind: string): PromiseWithResolvers<Said> {
    const known = this.#heard.get(kind) ?? Promise.withResolvers<Said>();
    this.#heard.set(kind, known);
    return known;
  }
}
