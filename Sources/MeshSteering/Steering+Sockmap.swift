// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import MeshLinux
import MeshPrograms
import Synchronization

/// Acceleration of direct connections whose two workloads ask for it: a socket map between their ends.
extension Steering {
    /// Attaches the programs and lets sockets join. Without the one that counts what is read nothing would bound the
    /// memory that a slow reader takes, so nothing joins then.
    ///
    /// - Parameter cap: bytes that may wait unread in each direction.
    package func startSockmap(cap: UInt64) throws(SteeringError) {
        let forward = try self.program(.sockmap, nm_config())
        try self.countReads()
        do throws(SystemError) {
            // Sockets that joined before keep the program that they joined under.
            let code = withExtendedLifetime(forward) {
                bpf_prog_attach(forward.raw, self.maps[.sockmap], BPF_SK_MSG_VERDICT, 0)
            }
            if code != 0 { throw SystemError(call: "bpf(PROG_ATTACH)", errno: -code) }
            try self.state.withLock { state throws(SystemError) in
                try self.changeSettings(&state) { settings in
                    settings.flags |= UInt32(NM_SETTING_SOCKMAP)
                    settings.sockmap_cap = cap
                }
            }
        } catch {
            throw SteeringError(.attach, "the program of the socket map: \(error)")
        }
    }

    /// No more sockets join; those that have stay as they are.
    package func stopSockmap() throws(SteeringError) {
        do throws(SystemError) {
            try self.state.withLock { state throws(SystemError) in
                try self.changeSettings(&state) { $0.flags &= ~UInt32(NM_SETTING_SOCKMAP) }
            }
        } catch {
            throw SteeringError(.system, "settings: \(error)")
        }
    }

    /// One link for all runs: two would count everything twice, and none for a moment would count too little.
    private func countReads() throws(SteeringError) {
        let pin = self.layout.sockmap + "/reads"
        guard !FileTree.exists(pin) else { return }
        let program = try self.readCounter()
        do throws(SystemError) {
            let raw = withExtendedLifetime(program) { bpf_raw_tracepoint_open(nil, program.raw) }
            guard raw >= 0 else { throw SystemError(call: "bpf(RAW_TRACEPOINT_OPEN)", errno: -raw) }
            let link = FileDescriptor(owning: raw)
            try FileTree.makeDirectory(self.layout.sockmap)
            try BPF.pin(link.raw, at: pin)
        } catch {
            throw SteeringError(.attach, "the program that counts what is read from socket maps: \(error)")
        }
    }

    /// Behind the kernel's function that reads from such sockets (6.1), which some kernels forbid; or behind all reads from
    /// sockets (6.3), which costs each of them a little.
    private func readCounter() throws(SteeringError) -> ProgramLoader.Program {
        let refusal: SteeringError
        do throws(SteeringError) {
            return try self.program(.taken, nm_config())
        } catch {
            refusal = error
        }
        do throws(SteeringError) {
            return try self.program(.received, nm_config())
        } catch {
            throw refusal
        }
    }
}
