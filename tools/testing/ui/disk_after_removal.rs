// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! A disk that was removed is no disk any more.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    block::disk::{
        Operations,
        Registration, //
    },
    nvdimm::Namespace,
};

fn late<T: Operations>(namespace: &Namespace<'_>, disk: Registration<T>) {
    let removed = disk.remove();

    namespace.update_read_only(&disk);
    let _ = removed.shut_down(|_| (), |_| ());
}
